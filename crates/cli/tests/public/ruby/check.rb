# Starts the server and asks it.
require 'etc'
require 'net/http'
require './app'

abort "user #{Process.uid}" unless Etc.getpwuid.name == 'app'
started = server(0)
Thread.new { started.start }
said = Net::HTTP.get(URI("http://127.0.0.1:#{started.config[:Port]}/?name=ada"))
puts said
exit said == 'hello ada'
