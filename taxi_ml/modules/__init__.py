"""The code that TFX packs into wheels: siblings import each other as top-level modules."""
