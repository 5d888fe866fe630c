"""The edge that speaks HTTP: decodes strictly, authenticates, hands on, and answers as problems or pages."""
