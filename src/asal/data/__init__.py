"""Images, from wherever they are to ids: sources, splits, ingest, and the pools that are read."""
