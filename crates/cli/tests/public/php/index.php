<?php
if (ini_get('memory_limit') !== '32M') {
    exit(1);
}
echo 'hello ', $argv[1] ?? 'world', "\n";
