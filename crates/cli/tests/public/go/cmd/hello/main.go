// Command hello greets, or checks the version it was built with.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
)

var version = "none"

func main() {
	check := flag.String("check", "", "the version that this must be")
	flag.Parse()
	fmt.Println("hello", version, runtime.GOOS, runtime.GOARCH)
	if *check != "" && *check != version {
		os.Exit(1)
	}
}
