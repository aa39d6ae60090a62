//! The `condition` of `attach_trigger`, made into a trigger's WHEN expression.
//!
//! Users write bare column names; a WHEN expression wants `new.` or `old.` before each. PostgreSQL's
//! own parser finds them, so quoting, comments and strings need no second grammar here.

use crate::error::refuse_argument;
use crate::sys;
use pgrx::list::List;
use pgrx::prelude::*;
use std::ffi::{CStr, c_int, c_void};

/// Longer ones are no conditions but programs; and the parser's memory is bounded with it.
const CONDITION_BYTES_MAX: usize = 10_000;
const PREFIX: &str = "select ";

unsafe extern "C-unwind" {
    #[cfg_attr(any(feature = "pg14", feature = "pg15"), link_name = "raw_expression_tree_walker")]
    #[cfg_attr(not(any(feature = "pg14", feature = "pg15")), link_name = "raw_expression_tree_walker_impl")]
    fn walk_raw_expression(
        node: *mut pg_sys::Node,
        walker: Option<unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool>,
        context: *mut c_void,
    ) -> bool;
}

/// The condition with `new.` (`old.` for DELETE) before every bare column name.
#[pg_extern(sql = false)]
fn qualify_condition(condition: &str, operation: &str, columns: Vec<String>) -> String {
    if condition.len() > CONDITION_BYTES_MAX {
        refuse_argument(
            format!("condition is {} bytes long, the limit is {CONDITION_BYTES_MAX}", condition.len()),
            "Put the logic into a function and call that.",
        );
    }
    let expression = parse_single_expression(condition);
    let mut search = Search {
        columns: &columns,
        absent: match operation {
            "INSERT" => Some("old"),
            "DELETE" => Some("new"),
            _ => None,
        },
        operation,
        bare: Vec::new(),
    };
    // SAFETY: the tree comes from the raw parser and lives in the current memory context; the walker
    // gets the search back as its context.
    unsafe { find_columns(expression, (&raw mut search).cast()) };
    insert_record_name(condition, search.bare, if operation == "DELETE" { "old." } else { "new." })
}

fn insert_record_name(condition: &str, mut places: Vec<usize>, record: &str) -> String {
    places.sort_unstable();
    places.dedup();
    let mut qualified = String::with_capacity(condition.len() + places.len() * record.len());
    let mut copied = 0;
    for place in places {
        let Some(part) = condition.get(copied..place) else { continue };
        qualified.push_str(part);
        qualified.push_str(record);
        copied = place;
    }
    qualified.push_str(&condition[copied..]);
    qualified
}

/// Refuses everything but one expression: the text is later put between the parentheses of
/// `when (...)`, and must not be able to leave them.
fn parse_single_expression(condition: &str) -> *mut pg_sys::Node {
    let refuse = || -> ! {
        refuse_argument(
            "condition must be one boolean expression".to_owned(),
            "Write it as in WHERE, for example: status = 'paid' and new.total > 100.",
        )
    };
    if condition.trim().is_empty() {
        refuse();
    }
    let statement = sys::c_string(&format!("{PREFIX}{condition}\n"));
    // SAFETY: raw_parser reads a C string and returns a list of RawStmt nodes; node tags are checked
    // before a node is read as what it is. Syntax errors are raised by it.
    unsafe {
        let statements = pg_sys::raw_parser(statement.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let Some(statement) = only_item(statements) else { refuse() };
        let node = (*statement.cast::<pg_sys::RawStmt>()).stmt;
        if !has_tag(node, pg_sys::NodeTag::T_SelectStmt) {
            refuse();
        }
        let select = &*node.cast::<pg_sys::SelectStmt>();
        let bare = select.distinctClause.is_null()
            && select.intoClause.is_null()
            && select.fromClause.is_null()
            && select.whereClause.is_null()
            && select.groupClause.is_null()
            && select.havingClause.is_null()
            && select.windowClause.is_null()
            && select.valuesLists.is_null()
            && select.sortClause.is_null()
            && select.limitOffset.is_null()
            && select.limitCount.is_null()
            && select.lockingClause.is_null()
            && select.withClause.is_null()
            && select.op == pg_sys::SetOperation::SETOP_NONE;
        let Some(target) = only_item(select.targetList).filter(|_| bare) else { refuse() };
        let target = &*target.cast::<pg_sys::ResTarget>();
        if !target.name.is_null() || target.val.is_null() {
            refuse();
        }
        target.val
    }
}

/// # Safety
/// `list` must be null or a list of pointers.
unsafe fn only_item(list: *mut pg_sys::List) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller vouches for the list.
    let items = unsafe { pointers(list) };
    match items.as_slice() {
        [item] => Some(*item),
        _ => None,
    }
}

/// # Safety
/// `list` must be null or a list of pointers.
unsafe fn pointers(list: *mut pg_sys::List) -> Vec<*mut pg_sys::Node> {
    pgrx::memcx::current_context(|context| {
        // SAFETY: the caller vouches for the list; the pointers are copied out of it.
        unsafe { List::<*mut c_void>::downcast_ptr_in_memcx(list, context) }
            .map(|list| list.iter().map(|item| item.cast()).collect())
            .unwrap_or_default()
    })
}

/// # Safety
/// `node` must be null or a valid node.
unsafe fn has_tag(node: *const pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    // SAFETY: every node starts with its tag.
    !node.is_null() && unsafe { (*node).type_ == tag }
}

struct Search<'a> {
    columns: &'a [String],
    /// The record that does not exist for this operation.
    absent: Option<&'static str>,
    operation: &'a str,
    /// Byte offsets into the condition.
    bare: Vec<usize>,
}

#[pg_guard]
unsafe extern "C-unwind" fn find_columns(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the walker passes valid raw parse nodes and our own context; it may raise an error when
    // it meets a node it does not know, which the guard turns into an unwind.
    unsafe {
        if has_tag(node, pg_sys::NodeTag::T_ColumnRef) {
            (*context.cast::<Search<'_>>()).visit(&*node.cast::<pg_sys::ColumnRef>());
            return false;
        }
        pg_sys::ffi::pg_guard_ffi_boundary(|| walk_raw_expression(node, Some(find_columns), context))
    }
}

impl Search<'_> {
    /// # Safety
    /// The node must come from the raw parser.
    unsafe fn visit(&mut self, column: &pg_sys::ColumnRef) {
        // SAFETY: fields is a list of String and A_Star nodes.
        let names: Vec<Option<String>> =
            unsafe { pointers(column.fields).into_iter().map(|field| string_of(field)).collect() };
        match names.as_slice() {
            [Some(name)] => self.visit_bare(name, column.location),
            [Some(record), ..] => self.check_record(record),
            _ => {}
        }
    }

    fn visit_bare(&mut self, name: &str, location: c_int) {
        let is_column = self.columns.iter().any(|column| column == name);
        let is_record = name == "new" || name == "old";
        if is_column && is_record {
            refuse_argument(
                format!("condition uses \"{name}\", which is both a column and a record"),
                "Write new.new or old.old for the column.",
            );
        }
        if is_record {
            return self.check_record(name);
        }
        if !is_column {
            refuse_argument(
                format!("condition uses column \"{name}\", which the table does not have"),
                "Check the spelling; mixed-case names need double quotes.",
            );
        }
        if let Some(place) = usize::try_from(location).ok().and_then(|at| at.checked_sub(PREFIX.len())) {
            self.bare.push(place);
        }
    }

    fn check_record(&self, record: &str) {
        if self.absent == Some(record) {
            let operation = self.operation;
            refuse_argument(
                format!("condition uses {record}, which does not exist for {operation}"),
                "Write the bare column name, which means the new record and for DELETE the old one, or restrict \
                 operations to those that have it, for example operations => '{UPDATE}'.",
            );
        }
    }
}

/// # Safety
/// `node` must be a valid node.
unsafe fn string_of(node: *mut pg_sys::Node) -> Option<String> {
    // SAFETY: the tag is checked before the node is read as a string.
    unsafe {
        if !has_tag(node, pg_sys::NodeTag::T_String) {
            return None;
        }
        #[cfg(feature = "pg14")]
        let text = (*node.cast::<pg_sys::Value>()).val.str_;
        #[cfg(not(feature = "pg14"))]
        let text = (*node.cast::<pg_sys::String>()).sval;
        Some(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}
