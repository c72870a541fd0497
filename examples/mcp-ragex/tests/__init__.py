"""Tests of ragex. They need what the ml tier has: ripgrep, and the packages of a file in requirements/.

python3 -m unittest discover --start-directory tests --top-level-directory .
"""
