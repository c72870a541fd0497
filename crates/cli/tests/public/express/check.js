// Starts the server and asks it.
'use strict';
const http = require('http');
const app = require('./server.js');
if (process.getuid() !== 1000 || process.env.NODE_ENV !== 'production') {
  throw new Error(`${process.getuid()} ${process.env.NODE_ENV}`);
}
const server = app.listen(0, '127.0.0.1', () => {
  http.get({ host: '127.0.0.1', port: server.address().port, path: '/?name=ada' }, (response) => {
    response.on('data', (data) => {
      console.log(String(data));
      process.exit(String(data) === '{"hello":"ada"}' ? 0 : 1);
    });
  });
});
