"""Pack, deploy and run the function, on AWS and on this machine."""
