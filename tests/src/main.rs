//! Tests of the whole product through its outer surfaces, one module per behaviour.

mod support;

mod extension;
