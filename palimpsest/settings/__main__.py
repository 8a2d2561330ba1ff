"""python -m palimpsest.settings: check studies, or write what is generated from the models."""

from palimpsest.schema import main

main()
