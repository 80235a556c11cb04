//! What serves, and whether everything that it needs is there.
