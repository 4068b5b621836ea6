"""."""
from idiolect.text.row import Language
ROW=Language(code="es",name="x")
BRAZIL=Language(code="pt-br",name="x")
