//! The ports on S3, KMS, DynamoDB and Lambda.
