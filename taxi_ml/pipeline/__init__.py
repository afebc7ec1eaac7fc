"""The TFX pipeline: the compile request, the components, and the compiler."""
