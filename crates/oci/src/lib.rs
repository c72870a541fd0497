//! The nouns of the OCI image and distribution specifications
