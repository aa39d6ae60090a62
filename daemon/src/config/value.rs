//! Values as they are found, and what they are read as.

use std::str::FromStr;
use std::time::Duration;

/// A value as it was found: typed in a file, text in the environment and in flags.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, which may hold any other kind.
    Text(String),
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list; as text its items are separated by commas.
    List(Vec<String>),
    /// Something that no setting takes.
    Other,
}

/// The value is not allowed. The reader of the setting turns it into an error for people.
#[derive(Debug)]
pub struct NotAllowed;

impl Value {
    pub(super) fn text(&self) -> Result<String, NotAllowed> {
        match self {
            Self::Text(text) if !text.trim().is_empty() => Ok(text.clone()),
            _ => Err(NotAllowed),
        }
    }

    pub(super) fn parse<T: FromStr>(&self) -> Result<T, NotAllowed> {
        self.text()?.trim().parse().map_err(|_| NotAllowed)
    }

    pub(super) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, NotAllowed> {
        let text = self.text()?;
        choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())).map(|c| c.1).ok_or(NotAllowed)
    }

    pub(super) fn integer(&self, least: u64, most: u64) -> Result<u64, NotAllowed> {
        let number = match self {
            Self::Integer(number) => u64::try_from(*number).map_err(|_| NotAllowed)?,
            _ => self.parse()?,
        };
        if (least..=most).contains(&number) { Ok(number) } else { Err(NotAllowed) }
    }

    pub(super) fn count(&self, least: u64, most: u64) -> Result<usize, NotAllowed> {
        usize::try_from(self.integer(least, most)?).map_err(|_| NotAllowed)
    }

    pub(super) fn rate(&self, most: u32) -> Result<u32, NotAllowed> {
        u32::try_from(self.integer(0, most.into())?).map_err(|_| NotAllowed)
    }

    pub(super) fn boolean(&self) -> Result<bool, NotAllowed> {
        match self {
            Self::Boolean(boolean) => Ok(*boolean),
            _ => self.one_of(&[("true", true), ("false", false)]),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<String>, NotAllowed> {
        match self {
            Self::List(items) if items.iter().all(|item| !item.trim().is_empty()) => Ok(items.clone()),
            Self::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Text(text) => {
                Self::List(text.split(',').map(|item| item.trim().to_owned()).collect()).list()
            }
            _ => Err(NotAllowed),
        }
    }

    pub(super) fn seconds(&self, least: u64, most: u64) -> Result<Duration, NotAllowed> {
        self.integer(least, most).map(Duration::from_secs)
    }

    pub(super) fn milliseconds(&self, least: u64, most: u64) -> Result<Duration, NotAllowed> {
        self.integer(least, most).map(Duration::from_millis)
    }
}
