"""Executes plans, custom jobs and model servers through ports; knows neither wire nor storage."""
