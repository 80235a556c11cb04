//! Contract suites and fault wrappers for the ports.
