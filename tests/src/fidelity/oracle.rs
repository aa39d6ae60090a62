//! graphql-js in a process of its own, asked over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The process; it ends with this.
pub(super) struct Oracle {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// Starts it with a schema, which must be valid.
    pub(super) fn start(sdl: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        assert!(
            directory.join("node_modules/graphql-17").exists(),
            "graphql-js is not installed; run `make test`"
        );
        let mut child = Command::new("node")
            .arg("oracle.mjs")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut oracle = Self { child, questions, answers };
        oracle.serve(sdl);
        oracle
    }

    /// Changes the schema.
    pub(super) fn serve(&mut self, sdl: &str) {
        let invalid = self.ask(&json!({ "sdl": sdl }));
        assert_eq!(invalid["errors"], json!([]), "graphql-js refuses the schema\n{sdl}");
    }

    /// The answer to a question, see the script.
    pub(super) fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").expect("the oracle listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the oracle answers");
        let answer: Value = serde_json::from_str(&line).expect("JSON of the oracle");
        assert_eq!(answer["failure"], Value::Null, "{question}");
        answer
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// JSON whose numbers JavaScript cannot round.
pub(super) fn exact(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!({ "$number": number.to_string() }),
        Value::Array(items) => items.iter().map(exact).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), exact(value))).collect(),
        other => other.clone(),
    }
}
