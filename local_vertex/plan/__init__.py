"""From the PipelineSpec of the wire to the frozen Plan that is run; pure."""
