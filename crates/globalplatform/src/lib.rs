//! OpenTSM.
