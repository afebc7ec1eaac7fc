"""The TFX pipeline: what is asked for, its components, and the compiler."""
