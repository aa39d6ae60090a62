//! What a stream carries.
