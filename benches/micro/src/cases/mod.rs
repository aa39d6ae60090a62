//! What is measured.

mod cursor;

mod dispatch;

mod frame;

mod mailbox;

mod memory;

mod project;

mod route;

mod subscribe;

use anyhow::Result;

/// Something that is done again and again.
pub type Work = Box<dyn FnMut()>;

/// One thing that is measured.
pub struct Case {
    /// `station/what`.
    pub name: String,
    /// Of what its cost is told.
    pub unit: &'static str,
    /// How many of these one call of the work does.
    pub units: u64,
    /// Prepares the work: none of that is measured.
    pub make: Box<dyn Fn() -> Result<Work>>,
}

impl Case {
    fn new(
        name: impl Into<String>,
        unit: &'static str,
        units: usize,
        make: impl Fn() -> Result<Work> + 'static,
    ) -> Self {
        Self { name: name.into(), unit, units: units as u64, make: Box::new(make) }
    }
}

/// Every case, in the order of the path.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cursor::cases(&mut cases);
    route::cases(&mut cases);
    project::cases(&mut cases);
    dispatch::cases(&mut cases);
    mailbox::cases(&mut cases);
    frame::cases(&mut cases);
    memory::cases(&mut cases);
    subscribe::cases(&mut cases);
    cases
}
