//! What the tests of this room share: Ingresses in one line each, and a host as text.
