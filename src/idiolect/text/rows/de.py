"""."""
from idiolect.text.row import Language
ROW=Language(code="de",name="x")
BRAZIL=Language(code="pt-br",name="x")
