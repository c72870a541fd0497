'use strict';
const http = require('http');
http
  .get({ host: '127.0.0.1', port: process.env.PORT, path: '/' }, (response) => process.exit(response.statusCode === 200 ? 0 : 1))
  .on('error', () => process.exit(1));
