'use strict';
const express = require('express');
const app = express();
app.get('/', (request, response) => response.json({ hello: request.query.name || 'world' }));
module.exports = app;
if (require.main === module) {
  app.listen(process.env.PORT, () => console.log(`listening on ${process.env.PORT}`));
}
