@rem cmd.exe's stand-in for the shell's `exec`, for the script "start" in package.json, which reads `exec node ...`:
@rem elsewhere no shell may stand between npm and the program, since it would keep Ctrl-C and the exit code to itself.
@%*
