"""Objects of Google and Azure: what a front door on another cloud than AWS keeps its log and its mirror in.

Both clients speak their cloud's REST and have the shapes of boto3's S3 client, so that whatever is kept in S3
(`adapters.aws.s3`, `.models`) is kept there by the same code.
"""
