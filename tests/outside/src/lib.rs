//! Texts with their length before them.

#[cfg(test)]
mod tests;
