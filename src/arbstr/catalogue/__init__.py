"""The price catalogue: what known providers charge for known models, shipped with arbstr.

``shipped()`` is the catalogue of this version, read at the first call; ``Catalogue.read(path)`` one that somebody has
compiled (``python -m arbstr.catalogue.build PATH``). Reading decodes nothing but the list of providers; a provider's
models are decoded when one of them is first asked for.

- ``catalogue.find(kind, base_url, model, at)`` is the :class:`Listing` of one model at one configured provider, or None
  where its price is not known. ``listing.rates`` go into a deployment as they are: dollars, with ``source`` set.
- ``listing.until`` is the instant at which that price ends, where it is known. Who keeps a listing asks again then.
- ``catalogue.offers(model, at)`` has every provider that is known to sell a model.

``at`` is an aware datetime; the catalogue has no clock. Nothing here is imported by a gateway none of whose providers
can be in it: those who are called without TLS, and those whose models all have rates and a context window of their own.
"""

from arbstr.catalogue.file import CatalogueError
from arbstr.catalogue.lookup import Catalogue, Listing, shipped

__all__ = ["Catalogue", "CatalogueError", "Listing", "shipped"]
