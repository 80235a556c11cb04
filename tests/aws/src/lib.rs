//! Shared by the tests of the AWS stores.
