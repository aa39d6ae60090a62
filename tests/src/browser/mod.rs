//! GraphiQL: the page that browsers get, and what it does in Chromium.

mod page;

mod visit;
