"""What stands in for AWS where no registry can be reached: an engine for SAM local, and the image that it runs."""
