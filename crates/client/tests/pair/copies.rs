//! Directories that were copied, and databases that were restored.
