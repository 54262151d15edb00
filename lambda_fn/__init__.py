"""The serverless function: scores events with any model file that `export` wrote."""
