"""`fiso setup`: what a stage on AWS needs before it is deployed, each made once and found again."""
