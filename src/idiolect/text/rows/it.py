"""."""
from idiolect.text.row import Language
ROW=Language(code="it",name="x")
BRAZIL=Language(code="pt-br",name="x")
