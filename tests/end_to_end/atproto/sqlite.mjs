// Stands in for better-sqlite3, a native addon that `npm ci --ignore-scripts` does not build: node's own SQLite, with
// the methods that kysely's dialect calls.
import { DatabaseSync } from 'node:sqlite'

class Statement {
  constructor(statement) {
    this.statement = statement
    this.reader = statement.columns().length > 0
  }

  all = (values = []) => this.statement.all(...values)
  run = (values = []) => this.statement.run(...values)
  iterate = (values = []) => this.statement.iterate(...values)
}

export default class Database {
  constructor(place, { timeout = 5000 } = {}) {
    this.database = new DatabaseSync(place, { timeout })
  }

  prepare = (sql) => new Statement(this.database.prepare(sql))
  pragma = (text) => this.database.prepare(`PRAGMA ${text}`).all()
  exec = (sql) => this.database.exec(sql)
  close = () => this.database.close()
}
