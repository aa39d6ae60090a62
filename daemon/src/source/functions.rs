//! Functions that make a result or decide about a subscription: `@resolve` and `@authorize`.
//!
//! The database's are in [`super::postgres::functions`]; an embedding program may bring its own.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// The name of a function: its schema and its own name, neither of them quoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// Schema.
    pub schema: Box<str>,
    /// Name within the schema.
    pub name: Box<str>,
}

impl FunctionName {
    /// Reads `schema.name` as SQL would: parts in double quotes are kept as they are, others become
    /// lower case. Nothing if the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (schema, rest) = identifier(text.trim())?;
        let (name, rest) = identifier(rest.strip_prefix('.')?)?;
        rest.is_empty().then_some(Self { schema, name })
    }
}

/// The identifier at the start of a text, and what follows it.
fn identifier(text: &str) -> Option<(Box<str>, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let starts_well = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        return starts_well.then(|| (name.to_lowercase().into(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if name.is_empty() || name.contains('\0') => return None,
            None => return Some((name.into(), after)),
        }
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// On whose behalf a function runs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Role of the database. It comes from the configuration, never from a token.
    pub role: Arc<str>,
    /// Claims, as JSON.
    pub claims: Arc<str>,
}

impl fmt::Debug for Caller {
    /// Claims belong into no log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Caller").field("role", &self.role).finish_non_exhaustive()
    }
}

/// What is called: everything but the event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// The function.
    pub function: Arc<FunctionName>,
    /// On whose behalf.
    pub caller: Caller,
    /// The field's arguments, as a JSON object.
    pub arguments: Arc<str>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The function raised an exception that is meant for its callers, with this message.
    #[error("{0}")]
    Raised(String),
    /// It failed in another way, which is in the log and not for clients.
    #[error("the function failed")]
    Failed,
    /// The database could not be reached, or went away meanwhile.
    #[error("the database is not available")]
    Unavailable,
    /// It took too long.
    #[error("the function took too long")]
    Timeout,
    /// Too many calls are waiting.
    #[error("too many calls are waiting")]
    Overloaded,
}

impl CallError {
    /// The kind, for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Raised(_) => "raised",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
        }
    }
}

/// What a resolver returns: JSON text, or nothing for null.
pub type Resolved = Result<Option<Arc<str>>, CallError>;

/// Calls functions. Each answer comes in bounded time; the call begins when it is made, not when its
/// future is first polled, and stops mattering when the future is dropped.
pub trait Functions: fmt::Debug + Send + Sync {
    /// Has a resolver make a value of an event, given as JSON.
    fn resolve(&self, call: Call, event: Arc<str>) -> BoxFuture<'static, Resolved>;

    /// Asks whether a subscription may begin.
    fn authorize(&self, call: Call) -> BoxFuture<'static, Result<bool, CallError>>;
}

#[cfg(test)]
mod tests {
    use super::FunctionName;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        let parsed = |text: &str| FunctionName::parse(text).map(|it| (it.schema, it.name));
        let is = |schema: &str, name: &str| Some((schema.into(), name.into()));
        assert_eq!(parsed("App.order_Details"), is("app", "order_details"));
        assert_eq!(parsed(r#""App"."it's ""x"".y""#), is("App", r#"it's "x".y"#));
        for bad in ["", "f", "a.", ".f", "a.f.g", "a.f()", "a b.f", "1.f", r#""a.f"#, r#""".f"#, "a.f; drop"]
        {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
