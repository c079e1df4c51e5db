"""As in the engines' own processes: before anything imports transformers."""

from crosslens.engines import hide_media_packages

hide_media_packages()
