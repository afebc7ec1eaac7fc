"""The TFX pipeline: what is asked for, what it is made of, and the compiler; importing this imports nothing."""
