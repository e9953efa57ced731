"""The steps by which a record's tables came to be what they are; run by `asal.session.schema` through Alembic."""
