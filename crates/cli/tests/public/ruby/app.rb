require 'greeter'
require 'webrick'

def server(port)
  server = WEBrick::HTTPServer.new(Port: port, BindAddress: '127.0.0.1', AccessLog: [])
  server.mount_proc('/') { |request, response| response.body = Greeter.greet(request.query['name']) }
  server
end

server(4567).start if $PROGRAM_NAME == __FILE__
