"""."""
from idiolect.text.row import Language
ROW=Language(code="pt",name="x")
BRAZIL=Language(code="pt-br",name="x")
