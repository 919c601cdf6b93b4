"""What FISO itself costs on AWS: its work measured on the code as it is, its setup read from the template."""
