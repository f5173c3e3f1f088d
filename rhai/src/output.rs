//! What a script prints: kept whole up to a cap, read in batches.

/// Text printed so far, and how far it was drained.
pub struct Output {
    text: String,
    drained: usize,
    dropped: u64,
    limit: usize,
    closed: bool,
}

impl Output {
    /// Keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { text: String::new(), drained: 0, dropped: 0, limit, closed: false }
    }

    /// Adds a line, or counts it as dropped. A line that doesn't fit whole is cut at a character, and
    /// nothing is added after it, so that what is kept is a beginning without gaps.
    pub fn line(&mut self, prefix: &str, line: &str) {
        let size = prefix.len() + line.len() + 1;
        if self.dropped == 0 && self.text.len() + size <= self.limit {
            self.text.push_str(prefix);
            self.text.push_str(line);
            self.text.push('\n');
            return;
        }
        let mut kept = 0;
        if self.dropped == 0 {
            let room = self.limit.saturating_sub(self.text.len() + 1);
            if room > prefix.len() {
                self.text.push_str(prefix);
                let end = floor_char(line, room - prefix.len());
                self.text.push_str(&line[..end]);
                self.text.push('\n');
                kept = prefix.len() + end + 1;
            }
        }
        self.dropped += (size - kept) as u64;
    }

    /// Ends the output: a last line tells how much was dropped.
    pub fn close(&mut self) {
        if self.dropped > 0 && !self.closed {
            let told = format!("... {} bytes of output dropped (limit {} bytes)\n", self.dropped, self.limit);
            self.text.push_str(&told);
        }
        self.closed = true;
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was added since the last call.
    pub fn drain(&mut self) -> String {
        let new = self.text[self.drained..].to_owned();
        self.drained = self.text.len();
        new
    }
}

fn floor_char(text: &str, mut end: usize) -> usize {
    end = end.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::Output;

    #[test]
    fn a_line_that_does_not_fit_is_cut_at_a_character_and_told() {
        let mut output = Output::new(8);
        output.line("", "abc");
        output.line("", "d\u{e9}\u{e9}fgh");
        output.line("", "later");
        output.close();
        assert_eq!(output.text(), "abc\nd\u{e9}\n... 11 bytes of output dropped (limit 8 bytes)\n");
    }

    #[test]
    fn drain_gives_each_line_once() {
        let mut output = Output::new(100);
        output.line("", "a");
        assert_eq!(output.drain(), "a\n");
        output.line("", "b");
        assert_eq!(output.drain(), "b\n");
        assert_eq!(output.drain(), "");
        assert_eq!(output.text(), "a\nb\n");
    }
}
