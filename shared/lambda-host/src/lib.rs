//! Runs a router as a Lambda function.
