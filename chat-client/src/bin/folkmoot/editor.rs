//! Where lines are typed and printed: an editor on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use rustyline::{
    Config, Context, Editor, ExternalPrinter as _, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::MemHistory, validate::Validator,
};
use tokio::sync::mpsc;

/// What the person did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line was finished.
    Line(String),
    /// A line that is no command is being written.
    Typing,
    /// The end: Ctrl-D, Ctrl-C or the end of the input.
    End,
}

/// Lines in, lines out.
pub(crate) struct Terminal {
    inputs: mpsc::Receiver<Input>,
    /// Absent when there is no editor that a printed line could disturb.
    lines: Option<mpsc::Sender<String>>,
    closing: Arc<AtomicBool>,
}

/// What the editor has to know of commands.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    /// What can be completed.
    pub(crate) names: Vec<&'static str>,
    /// Whether a line ends the conversation.
    pub(crate) leaves: fn(&str) -> bool,
}

impl Terminal {
    /// An editor when both ends are a terminal.
    pub(crate) fn open(prompt: String, commands: Commands) -> anyhow::Result<Self> {
        let (input, inputs) = mpsc::channel(32);
        let closing = Arc::new(AtomicBool::new(false));
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            thread::spawn(move || read_lines(&input));
            return Ok(Self { inputs, lines: None, closing });
        }
        let config = Config::builder().auto_add_history(true).build();
        let mut editor =
            Editor::with_history(config, MemHistory::new()).context("could not open the terminal")?;
        editor.set_helper(Some(Assistant { input: input.clone(), commands: commands.names }));
        let mut printer = editor.create_external_printer().context("could not open the terminal")?;
        let (lines, mut printed) = mpsc::channel::<String>(32);
        // Threads of their own: both wait on the terminal, and the printer waits for the editor too.
        thread::spawn(move || {
            while let Some(line) = printed.blocking_recv() {
                if printer.print(line).is_err() {
                    break;
                }
            }
        });
        let closed = Arc::clone(&closing);
        thread::spawn(move || {
            loop {
                let next = match editor.readline(&prompt) {
                    Ok(line) => Input::Line(line),
                    Err(ReadlineError::Signal(_)) => continue,
                    Err(_) => Input::End,
                };
                // Reading on would leave the terminal in raw mode when the process ends.
                let last = match &next {
                    Input::Line(line) => (commands.leaves)(line) || closed.load(Ordering::SeqCst),
                    _ => true,
                };
                if input.blocking_send(next).is_err() || last {
                    break;
                }
            }
        });
        Ok(Self { inputs, lines: Some(lines), closing })
    }

    /// Waits until the editor has given the terminal back, which it does at the next line or end of input.
    pub(crate) async fn closed(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        while self.lines.is_some() && self.next().await == Input::Typing {}
    }

    /// Whether what is typed stays on the screen by itself.
    pub(crate) const fn shows_typed_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// What the person does next.
    pub(crate) async fn next(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::End)
    }

    /// Prints above the line that is being written.
    pub(crate) async fn print(&self, line: &str) -> anyhow::Result<()> {
        if let Some(lines) = &self.lines {
            return lines.send(format!("{line}\n")).await.context("could not print to the terminal");
        }
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }
}

fn read_lines(input: &mpsc::Sender<Input>) {
    for line in io::stdin().lines() {
        let Ok(line) = line else { break };
        if input.blocking_send(Input::Line(line)).is_err() {
            return;
        }
    }
    // The receiver may have gone as well.
    let _ = input.blocking_send(Input::End);
}

/// Completes commands, and notices that somebody types.
struct Assistant {
    input: mpsc::Sender<Input>,
    commands: Vec<&'static str>,
}

impl Helper for Assistant {}
impl Highlighter for Assistant {}
impl Validator for Assistant {}

impl Hinter for Assistant {
    type Hint = String;

    /// The editor asks for a hint after each key.
    fn hint(&self, line: &str, _pos: usize, _ctx: &Context<'_>) -> Option<String> {
        if !line.trim().is_empty() && !line.starts_with('/') {
            // Only news: while others wait in the queue, it is none.
            let _ = self.input.try_send(Input::Typing);
        }
        None
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..pos).unwrap_or_default();
        let fits =
            self.commands.iter().filter(|command| typed.starts_with('/') && command.starts_with(typed));
        Ok((0, fits.map(|command| format!("{command} ")).collect()))
    }
}
