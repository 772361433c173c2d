"""The search index of PostgreSQL. SQLite has its own file, see ``storage/search_index_sqlite.py``.

These tables are not among ``metadata``: a backup leaves them out, and what is not there is indexed again.
"""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import TSVECTOR

from storage.models.base import Key, metadata

search_metadata = MetaData(naming_convention=metadata.naming_convention)

search_positions = Table(
    "search_positions",
    search_metadata,
    Column("chat_pk", Key, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("filled", BigInteger, nullable=False),
    comment="how far a chat is indexed: events up to seq, messages up to filled",
)

search_texts = Table(
    "search_texts",
    search_metadata,
    Column("chat_pk", Key, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("keys", TSVECTOR, nullable=False),
    # Without a list of rows that wait to be indexed, which every search would read.
    Index("ix_search_texts_keys", "keys", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    comment="what can be found of each message; a key begins with the chat's number",
)
