"""."""
from idiolect.text.row import Language
ROW=Language(code="fr",name="x")
BRAZIL=Language(code="pt-br",name="x")
