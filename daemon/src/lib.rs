//! Tidings turns an existing PostgreSQL database into a GraphQL subscription service.
//!
//! # Layout
//!
//! The modules stand in the order in which an event passes through them: a [`source`] fetches
//! committed [`event`]s, the [`hub`] routes them to groups of subscriptions and has each group's
//! result projected once, [`graphql`] made the plans that do so, [`access`] decided who the
//! subscriber is, the [`store`] keeps what
//! outlives a process, and a [`transport`] writes the frames. [`service`] ties them together and is the
//! API for embedding. Imports point from the bottom of this list to the top, never back.

#![forbid(unsafe_code)]

pub mod event;

pub mod spares;

pub mod config;

pub mod metrics;

pub mod source;

pub mod hub;

pub mod graphql;

pub mod service;

pub mod error;

pub mod shutdown;

pub mod access;

pub mod store;

pub mod transport;

pub mod admin;

pub mod cli;
